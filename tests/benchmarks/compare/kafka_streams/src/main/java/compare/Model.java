package compare;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;

/**
 * The model and the features in memory, for one thread.
 *
 * <p>Tuned: one event's row and its answer lie in direct buffers under tensors that are made once, and the answer is
 * pinned, so a call copies and allocates next to nothing. It asks for the probabilities alone.
 */
final class Model implements AutoCloseable {
  private static final int FEATURES = 6;
  private static final int INPUTS = FEATURES + 2;

  private final float[] features;
  private final FloatBuffer row = floats(INPUTS);
  private final FloatBuffer answer = floats(2);
  private final OrtSession session;
  private final OnnxTensor input;
  private final OnnxTensor output;
  private final Map<String, OnnxTensor> inputs;
  private final Map<String, OnnxTensor> outputs;

  Model() {
    features = features(Path.of(Job.FEATURES));
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(1);
      options.setInterOpNumThreads(1);
      session = environment.createSession(Job.MODEL, options);
      input = OnnxTensor.createTensor(environment, row, new long[] {1, INPUTS});
      output = OnnxTensor.createTensor(environment, answer, new long[] {1, 2});
    } catch (OrtException error) {
      throw new IllegalStateException(error);
    }
    inputs = Map.of("X", input);
    outputs = Map.of("probabilities", output);
  }

  float probability(Event event) {
    row.put(0, (float) event.amount);
    row.put(1, (float) event.ts);
    row.put(2, features, event.user * FEATURES, FEATURES);
    try (OrtSession.Result ignored = session.run(inputs, Set.of(), outputs)) {
      return answer.get(1);
    } catch (OrtException error) {
      throw new IllegalStateException(error);
    }
  }

  @Override
  public void close() {
    input.close();
    output.close();
    try {
      session.close();
    } catch (OrtException error) {
      throw new IllegalStateException(error);
    }
  }

  private static FloatBuffer floats(int count) {
    return ByteBuffer.allocateDirect(count * Float.BYTES).order(ByteOrder.nativeOrder()).asFloatBuffer();
  }

  private static float[] features(Path file) {
    try {
      FloatBuffer read = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
      float[] values = new float[read.remaining()];
      read.get(values);
      return values;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}

package compare;

import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;

/** The job with Kafka Streams, exactly once (v2), one stream thread; runs until it is told to end. */
public final class Score {
  private Score() {}

  public static void main(String[] arguments) {
    KafkaStreams streams = new KafkaStreams(topology(), settings());
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
    streams.setStateListener(
        (now, before) -> {
          if (now == KafkaStreams.State.ERROR) {
            Runtime.getRuntime().halt(1);
          }
        });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(5))));
    streams.start();
  }

  private static Topology topology() {
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(Job.SOURCE, Consumed.with(Serdes.ByteArray(), events()))
        .processValues(Scorer::new)
        .to(Job.TARGET, Produced.with(Serdes.ByteArray(), predictions()));
    return builder.build();
  }

  /** Commits as often as told; larger batches and polls than by default, which is faster here. */
  private static Properties settings() {
    Properties settings = new Properties();
    settings.put("application.id", Job.APP);
    settings.put("bootstrap.servers", Job.BROKERS);
    settings.put("processing.guarantee", "exactly_once_v2");
    settings.put("commit.interval.ms", Job.COMMIT_MS);
    settings.put("num.stream.threads", "1");
    settings.put("state.dir", Job.SCRATCH);
    settings.put("auto.offset.reset", "earliest");
    settings.put("producer.compression.type", "lz4");
    settings.put("producer.linger.ms", Job.QUICK ? "0" : "5");
    if (Job.QUICK) {
      settings.put("poll.ms", Job.COMMIT_MS); // a poll that waits for a record holds up the commit of those before
    }
    settings.put("producer.batch.size", String.valueOf(1 << 18));
    settings.put("main.consumer.max.poll.records", "4096");
    settings.put("buffered.records.per.partition", "8192");
    return settings;
  }

  private static Serde<Event> events() {
    return Serdes.serdeFrom(
        (topic, event) -> {
          throw new UnsupportedOperationException("events are only read");
        },
        (topic, value) -> Event.decode(value));
  }

  private static Serde<Scored> predictions() {
    return Serdes.serdeFrom(
        (topic, scored) -> scored.encode(),
        (topic, value) -> {
          throw new UnsupportedOperationException("predictions are only written");
        });
  }

  private static final class Scorer implements FixedKeyProcessor<byte[], Event, Scored> {
    private FixedKeyProcessorContext<byte[], Scored> context;
    private Model model;

    @Override
    public void init(FixedKeyProcessorContext<byte[], Scored> given) {
      context = given;
      model = new Model();
    }

    @Override
    public void process(FixedKeyRecord<byte[], Event> record) {
      Event event = record.value();
      context.forward(record.withValue(new Scored(event.id, event.user, model.probability(event))));
    }

    @Override
    public void close() {
      model.close();
    }
  }
}

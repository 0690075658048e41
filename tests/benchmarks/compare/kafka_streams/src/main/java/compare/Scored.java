package compare;

import com.fasterxml.jackson.core.JsonEncoding;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;

/** What goes out. */
record Scored(int id, int user, float probability) {
  private static final JsonFactory JSON = new JsonFactory();
  private static final int USUAL_BYTES = 112;

  byte[] encode() {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(USUAL_BYTES);
    try (JsonGenerator json = JSON.createGenerator(bytes, JsonEncoding.UTF8)) {
      json.writeStartObject();
      json.writeNumberField("id", id);
      json.writeNumberField("user", user);
      json.writeNumberField("probability", probability);
      json.writeBooleanField("label", probability > 0.5f);
      json.writeStringField("version", Job.VERSION);
      json.writeEndObject();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return bytes.toByteArray();
  }
}

package compare;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import java.io.IOException;
import java.io.UncheckedIOException;

/** What comes in; every field is read, as the other programs do. */
final class Event {
  private static final JsonFactory JSON = new JsonFactory();

  int id;
  int user;
  double amount;
  String merchant;
  long ts;
  String country;
  String channel;
  String device;

  static Event decode(byte[] value) {
    Event event = new Event();
    try (JsonParser parser = JSON.createParser(value)) {
      parser.nextToken();
      for (String field = parser.nextFieldName(); field != null; field = parser.nextFieldName()) {
        parser.nextToken();
        event.take(field, parser);
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return event;
  }

  private void take(String field, JsonParser parser) throws IOException {
    switch (field) {
      case "id" -> id = parser.getIntValue();
      case "user" -> user = parser.getIntValue();
      case "amount" -> amount = parser.getDoubleValue();
      case "merchant" -> merchant = parser.getText();
      case "ts" -> ts = parser.getLongValue();
      case "country" -> country = parser.getText();
      case "channel" -> channel = parser.getText();
      case "device" -> device = parser.getText();
      default -> parser.skipChildren();
    }
  }
}

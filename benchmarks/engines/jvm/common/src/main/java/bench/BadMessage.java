package bench;

/** A message that cannot be decoded. Without a stack trace: it is counted, not looked into. */
public final class BadMessage extends Exception {
    public BadMessage(String message) {
        super(message, null, false, false);
    }
}

package bench;

/** Magic byte 0 and four bytes of schema id before each datum. */
public final class Framing {
    public static final int LENGTH = 5;

    private Framing() {}

    public static void check(byte[] message) throws BadMessage {
        if (message == null || message.length <= LENGTH || message[0] != 0) {
            throw new BadMessage("no frame");
        }
    }
}

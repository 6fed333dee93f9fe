package bench;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** One String per distinct text: the same few collectors, runs and zones come in every tick. */
final class Names {
    private static final VarHandle WORD = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    /** More texts than this are not kept; they are made anew each time. */
    private static final int MOST = 1 << 17;

    private byte[][] texts = new byte[1 << 12][];
    private String[] strings = new String[1 << 12];
    private int size;

    String of(byte[] bytes, int from, int length) {
        int mask = texts.length - 1;
        int slot = hash(bytes, from, length) & mask;
        while (texts[slot] != null) {
            if (Arrays.equals(texts[slot], 0, texts[slot].length, bytes, from, from + length)) {
                return strings[slot];
            }
            slot = slot + 1 & mask;
        }
        String name = new String(bytes, from, length, StandardCharsets.UTF_8);
        if (size < MOST) {
            texts[slot] = Arrays.copyOfRange(bytes, from, from + length);
            strings[slot] = name;
            if (++size * 2 > texts.length) {
                grow();
            }
        }
        return name;
    }

    private void grow() {
        byte[][] oldTexts = texts;
        String[] oldStrings = strings;
        texts = new byte[oldTexts.length * 2][];
        strings = new String[oldTexts.length * 2];
        int mask = texts.length - 1;
        for (int i = 0; i < oldTexts.length; i++) {
            if (oldTexts[i] != null) {
                int slot = hash(oldTexts[i], 0, oldTexts[i].length) & mask;
                while (texts[slot] != null) {
                    slot = slot + 1 & mask;
                }
                texts[slot] = oldTexts[i];
                strings[slot] = oldStrings[i];
            }
        }
    }

    /** Eight bytes at a time. */
    private static int hash(byte[] bytes, int from, int length) {
        long hash = length * 0x9E3779B97F4A7C15L;
        int end = from + length;
        int at = from;
        for (; at + 8 <= end; at += 8) {
            hash = (hash ^ (long) WORD.get(bytes, at)) * 0x9E3779B97F4A7C15L;
            hash ^= hash >>> 29;
        }
        for (; at < end; at++) {
            hash = (hash ^ bytes[at]) * 0x9E3779B97F4A7C15L;
        }
        return (int) (hash ^ hash >>> 32);
    }
}

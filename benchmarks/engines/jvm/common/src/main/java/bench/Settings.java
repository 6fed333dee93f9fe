package bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.avro.Schema;

/** What the harness says in the environment (benchmarks/engines/README.md). */
public record Settings(
        String bootstrap, String samples, String intensity, String output, Path schemas, Path state, boolean live,
        int passes, long latenessUs, int parallelism, String group) {

    public static Settings fromEnvironment() {
        return new Settings(
                get("BOOTSTRAP"), get("SAMPLES"), get("INTENSITY"), get("OUTPUT"), Path.of(get("SCHEMAS")),
                Path.of(get("STATE")), get("MODE").equals("live"), Integer.parseInt(get("PASSES")),
                Long.parseLong(get("LATENESS_S")) * 1_000_000, Integer.parseInt(get("PARALLELISM")), get("GROUP"));
    }

    public Schema schema(String name) {
        try {
            return new Schema.Parser().parse(Files.readString(schemas.resolve(name + ".avsc")));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** The lines on stdout that the harness waits for. */
    public static void say(String words) {
        System.out.println("BENCH " + words);
        System.out.flush();
    }

    private static String get(String name) {
        String value = System.getenv("BENCH_" + name);
        if (value == null) {
            throw new IllegalStateException("BENCH_" + name + " is not set; see benchmarks/engines/README.md");
        }
        return value;
    }
}

package bench;

/** A row for the output topic: key and JSON. */
public class Row {
    public String key = "";
    public String value = "";

    public Row() {}

    public Row(String key, String value) {
        this.key = key;
        this.value = value;
    }

    public static Row window(String run, long size, long start, Sums sums) {
        return new Row(run + "|" + size / 1_000_000 + "|" + start, sums.windowJson());
    }

    public static Row total(String run, Sums sums) {
        return new Row(run + "|total|0", sums.totalJson());
    }

    public static Row count(String name, long number) {
        return new Row("count|" + name + "|jvm", "{\"n\":" + number + "}");
    }
}

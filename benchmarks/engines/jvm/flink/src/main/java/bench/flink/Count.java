package bench.flink;

/** So many more of something that is counted: duplicate, late, dead. */
public class Count {
    public String name = "";
    public long number;

    public Count() {}

    public Count(String name, long number) {
        this.name = name;
        this.number = number;
    }
}

package bench;

/** What a window or a run adds up to; also what one piece of a tick adds to it. */
public class Sums {
    private static final double UJ_PER_KWH = 3.6e12;

    public long energy;
    public long cpu;
    public long gpu;
    public long memory;
    public long other;
    public long estimated;
    public double grams;
    /** Ticks that begin in it. */
    public long ticks;
    /** Whether it changed since its row was written. */
    public boolean changed;

    /** One device's energy. Codes as in sample.avsc. */
    public void add(int kind, int method, long uj) {
        energy += uj;
        switch (kind) {
            case 1 -> cpu += uj;
            case 2 -> gpu += uj;
            case 3 -> memory += uj;
            default -> other += uj;
        }
        if (method < 1 || method > 3) {
            estimated += uj;
        }
    }

    public void add(Sums piece) {
        energy += piece.energy;
        cpu += piece.cpu;
        gpu += piece.gpu;
        memory += piece.memory;
        other += piece.other;
        estimated += piece.estimated;
        grams += piece.grams;
        ticks += piece.ticks;
        changed = true;
    }

    public void price(double gramsPerKwh) {
        grams = energy * gramsPerKwh / UJ_PER_KWH;
    }

    public void clear() {
        energy = cpu = gpu = memory = other = estimated = ticks = 0;
        grams = 0;
        changed = false;
    }

    /** The value of a window's row. */
    public String windowJson() {
        return new StringBuilder(192)
                .append("{\"energy_uj\":").append(energy).append(",\"cpu_uj\":").append(cpu)
                .append(",\"gpu_uj\":").append(gpu).append(",\"memory_uj\":").append(memory)
                .append(",\"other_uj\":").append(other).append(",\"estimated_uj\":").append(estimated)
                .append(",\"emissions_g\":").append(grams).append('}').toString();
    }

    /** The value of a run's row. */
    public String totalJson() {
        return "{\"energy_uj\":" + energy + ",\"emissions_g\":" + grams + "}";
    }
}

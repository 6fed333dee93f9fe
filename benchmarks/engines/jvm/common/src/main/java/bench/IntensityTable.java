package bench;

import java.io.Serializable;
import java.util.HashMap;
import java.util.Map;

/** The best intensity of each zone and 5 minutes (periods begin and end on whole ones, intensity.avsc). */
public class IntensityTable implements Serializable {
    public Map<String, Map<Long, Intensity>> zones = new HashMap<>();
    /** Records that it was made of. */
    public long records;

    public void add(Intensity intensity) {
        records++;
        Map<Long, Intensity> periods = zones.computeIfAbsent(intensity.zone, zone -> new HashMap<>());
        for (long at = intensity.from; at < intensity.to; at += Cut.FIVE_MIN) {
            periods.merge(at, intensity, (old, now) -> now.isBetterThan(old) ? now : old);
        }
    }

    /** Grams a kWh in the 5-s window; 0 where nothing is known. */
    public double at(String zone, long window) {
        Map<Long, Intensity> periods = zones.get(zone);
        Intensity found = periods == null ? null : periods.get(Cut.window(window, Cut.FIVE_MIN));
        return found == null ? 0 : found.gramsPerKwh;
    }
}

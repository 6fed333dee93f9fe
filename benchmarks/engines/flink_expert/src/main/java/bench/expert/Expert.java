package bench.expert;

import bench.Settings;
import bench.Tick;
import bench.flink.Counts;
import bench.flink.Job;
import bench.flink.Piece;
import bench.flink.RunWindows;
import bench.flink.Topics;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * The Flink job by hand. Up to the shuffle all is one chain without copies: decoder, watermarks, and an operator that takes each
 * tick once and adds up its pieces; what is shuffled are sums of some thousand ticks.
 */
public final class Expert {
    private Expert() {}

    public static void main(String[] words) throws Exception {
        Job.run(Expert::build);
    }

    private static void build(StreamExecutionEnvironment environment, Settings settings, String output)
            throws Exception {
        var ticks = environment.fromSource(
                Topics.source(settings, settings.samples(), new HandDecoder()), Topics.watermarks(settings), "samples",
                TypeInformation.of(Tick.class));
        SingleOutputStreamOperator<Piece> pieces = ticks.transform(
                "sums", TypeInformation.of(Piece.class), new PieceSums(Intensities.read(settings)));
        var rows = pieces.keyBy(piece -> piece.run).process(new RunWindows(settings.latenessUs()));
        var counts = pieces.getSideOutput(PieceSums.COUNTED).union(rows.getSideOutput(RunWindows.LATE));
        rows.union(counts.keyBy(count -> count.name).process(new Counts())).sinkTo(Topics.rows(settings, output));
    }
}

package bench.flink;

import bench.Settings;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Optional;
import java.util.stream.Stream;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ExternalizedCheckpointRetention;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateRecoveryOptions;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import java.time.Duration;

/** Runs a Flink job in this JVM as the harness wants it: some passes over the log, or for ever with checkpoints. */
public final class Job {
    private Job() {}

    /** Puts the job's operators into the environment. */
    public interface Builder {
        void build(StreamExecutionEnvironment environment, Settings settings, String output) throws Exception;
    }

    public static void run(Builder builder) throws Exception {
        Settings settings = Settings.fromEnvironment();
        if (settings.live()) {
            live(builder, settings);
            return;
        }
        for (int pass = 1; pass <= settings.passes(); pass++) {
            Settings.say("start " + pass);
            environment(builder, settings, common(settings), pass).execute();
            Settings.say("end " + pass);
        }
        System.exit(0);
    }

    private static void live(Builder builder, Settings settings) throws Exception {
        Configuration configuration = common(settings);
        configuration.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofSeconds(5));
        configuration.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, settings.state().toUri().toString());
        configuration.set(
                CheckpointingOptions.EXTERNALIZED_CHECKPOINT_RETENTION,
                ExternalizedCheckpointRetention.RETAIN_ON_CANCELLATION);
        newestCheckpoint(settings.state()).ifPresent(
                path -> configuration.set(StateRecoveryOptions.SAVEPOINT_PATH, path.toUri().toString()));
        JobClient job = environment(builder, settings, configuration, 1).executeAsync();
        while (job.getJobStatus().get() != JobStatus.RUNNING) {
            Thread.sleep(50);
        }
        Settings.say("ready");
        job.getJobExecutionResult().get();
    }

    private static Configuration common(Settings settings) {
        Configuration configuration = new Configuration();
        configuration.set(PipelineOptions.OBJECT_REUSE, true);
        configuration.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
        return configuration;
    }

    private static StreamExecutionEnvironment environment(
            Builder builder, Settings settings, Configuration configuration, int pass) throws Exception {
        StreamExecutionEnvironment environment =
                StreamExecutionEnvironment.createLocalEnvironment(settings.parallelism(), configuration);
        builder.build(environment, settings, settings.output() + "-" + pass);
        return environment;
    }

    /** The last one that is whole: its _metadata is written at the end. */
    private static Optional<Path> newestCheckpoint(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder, 3)) {
            return files.filter(file -> file.endsWith("_metadata"))
                    .max(Comparator.comparingLong(file -> file.toFile().lastModified()))
                    .map(Path::getParent);
        }
    }
}

package bench.streams;

import bench.Settings;
import bench.Tick;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** The job by Kafka Streams' Processor API; with the word `memory` its stores are on the heap instead of in RocksDB. */
public final class Streams {
    /** Sums are few; each more would be a task with a store and a changelog of its own. */
    private static final int PIECE_PARTITIONS = 4;

    private final Settings settings;
    private final boolean inMemory;

    private Streams(Settings settings, boolean inMemory) {
        this.settings = settings;
        this.inMemory = inMemory;
    }

    public static void main(String[] words) throws Exception {
        Streams job = new Streams(Settings.fromEnvironment(), List.of(words).contains("memory"));
        if (job.settings.live()) {
            job.live();
        } else {
            for (int pass = 1; pass <= job.settings.passes(); pass++) {
                job.catchUp(pass);
            }
        }
    }

    private void catchUp(int pass) throws Exception {
        Settings.say("start " + pass);
        Progress progress = new Progress();
        Properties properties = properties(settings.group() + "-" + pass, StreamsConfig.AT_LEAST_ONCE);
        long[] ends = ends();
        try (KafkaStreams streams = new KafkaStreams(topology(progress, pass, ends), properties)) {
            streams.start();
            while (!progress.isOver(ends)) {
                Thread.sleep(50);
                if (streams.state().hasCompletedShutdown()) {
                    throw new IllegalStateException("Kafka Streams has ended before the topics did");
                }
            }
        }
        Settings.say("end " + pass);
        removeTopics(properties.getProperty(StreamsConfig.APPLICATION_ID_CONFIG));
    }

    /**
     * Exactly-once: with at-least-once, stores and offsets of a killed process do not fit each other, and what is read again would
     * be counted twice or not at all. Commits more often than each 5 s, because the repartition topic shows only what is committed.
     */
    private void live() throws Exception {
        Properties properties = properties(settings.group(), StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        // The same member again after a kill, so that nobody waits for the old one's session to end.
        properties.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG), "bench");
        KafkaStreams streams = new KafkaStreams(topology(new Progress(), 1, ends()), properties);
        CountDownLatch running = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING) {
                running.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
        streams.start();
        running.await();
        Settings.say("ready");
    }

    private Topology topology(Progress progress, int pass, long[] ends) {
        String output = settings.output() + "-" + pass;
        // A partition is idle by the clock on the wall only in a live run; in a catch-up it is one that is empty.
        long idleMs = settings.live() ? 30_000 : Long.MAX_VALUE;
        int[] partitions = IntStream.range(0, ends.length).filter(at -> settings.live() || ends[at] > 0).toArray();
        StreamsBuilder builder = new StreamsBuilder();
        builder.addGlobalStore(
                Intensities.store(), settings.intensity(), Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()),
                () -> new Intensities(settings));
        var sums = builder
                .stream(settings.samples(), Consumed.with(
                                Serdes.String(), Serdes.serdeFrom((topic, tick) -> null, Codecs.ticks()))
                        .withTimestampExtractor((record, before) -> timestamp((Tick) record.value(), before)))
                .process(with(
                        () -> new Ticks(progress, settings.latenessUs()), store(Ticks.SEEN, Codecs.SEEN),
                        store(Ticks.SUMS, Codecs.SUMS), store(Ticks.COUNTS, Serdes.Long())));
        sums.filter((run, value) -> value instanceof Piece)
                .mapValues(value -> (Piece) value)
                .repartition(Repartitioned.with(Serdes.String(), Codecs.PIECE)
                        .withName("pieces").withNumberOfPartitions(PIECE_PARTITIONS))
                .process(with(
                        () -> new Windows(progress, settings.latenessUs(), partitions, idleMs), store(Windows.ROWS, Codecs.SUMS)))
                .to(output, Produced.with(Serdes.String(), Serdes.String()));
        sums.filter((name, value) -> value instanceof String)
                .mapValues(value -> (String) value)
                .to(output, Produced.with(Serdes.String(), Serdes.String()));
        return builder.build();
    }

    /** Event time in ms; a message that cannot be decoded moves no clock. */
    private static long timestamp(Tick tick, long before) {
        return tick.isDead() ? Math.max(before, 0) : tick.end / 1_000;
    }

    private <V> StoreBuilder<KeyValueStore<String, V>> store(String name, Serde<V> values) {
        var kind = inMemory ? Stores.inMemoryKeyValueStore(name) : Stores.persistentKeyValueStore(name);
        return Stores.keyValueStoreBuilder(kind, Serdes.String(), values).withCachingEnabled();
    }

    private static <A, B, C, D> ProcessorSupplier<A, B, C, D> with(
            ProcessorSupplier<A, B, C, D> maker, StoreBuilder<?>... stores) {
        return new ProcessorSupplier<>() {
            @Override
            public Processor<A, B, C, D> get() {
                return maker.get();
            }

            @Override
            public Set<StoreBuilder<?>> stores() {
                return Set.of(stores);
            }
        };
    }

    private Properties properties(String application, String guarantee) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, settings.bootstrap());
        properties.put(StreamsConfig.STATE_DIR_CONFIG, settings.state().toString());
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, settings.parallelism());
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 5_000);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 100 << 20);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 256 << 10);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.CHECK_CRCS_CONFIG), false);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 20);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        return properties;
    }

    private long[] ends() throws Exception {
        try (Admin admin = Admin.create(properties("ends", StreamsConfig.AT_LEAST_ONCE))) {
            int partitions = admin.describeTopics(List.of(settings.samples())).allTopicNames().get()
                    .get(settings.samples()).partitions().size();
            var asked = IntStream.range(0, partitions).boxed().collect(Collectors.toMap(
                    partition -> new TopicPartition(settings.samples(), partition), partition -> OffsetSpec.latest()));
            long[] ends = new long[partitions];
            admin.listOffsets(asked).all().get().forEach((at, end) -> ends[at.partition()] = end.offset());
            return ends;
        }
    }

    /** Repartition topic and changelogs of a pass that is over. */
    private void removeTopics(String application) throws Exception {
        try (Admin admin = Admin.create(properties(application, StreamsConfig.AT_LEAST_ONCE))) {
            admin.deleteTopics(admin.listTopics().names().get().stream()
                    .filter(topic -> topic.startsWith(application + "-")).toList()).all().get();
        }
    }
}

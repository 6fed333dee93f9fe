package bench.streams;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.IntStream;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/** Tells when a catch-up is over, which Kafka Streams does not know: all is read, sent on, added up and written. */
class Progress {
    private final AtomicLongArray read = new AtomicLongArray(1 << 10);
    private final AtomicLong inTransit = new AtomicLong();
    private final AtomicInteger busy = new AtomicInteger();

    void read(RecordMetadata record) {
        read.lazySet(record.partition(), record.offset() + 1);
    }

    void forwarded() {
        inTransit.incrementAndGet();
    }

    void arrived() {
        inTransit.decrementAndGet();
    }

    /** Whether the partitions are read to these offsets and nothing is left to do. */
    boolean isOver(long[] ends) {
        return IntStream.range(0, ends.length).allMatch(partition -> read.get(partition) >= ends[partition])
                && busy.get() == 0 && inTransit.get() == 0 && busy.get() == 0;
    }

    /** What a processor has not written yet. */
    class Work {
        private boolean begun;

        void begin() {
            if (!begun) {
                begun = true;
                busy.incrementAndGet();
            }
        }

        void done() {
            if (begun) {
                begun = false;
                busy.decrementAndGet();
            }
        }
    }
}

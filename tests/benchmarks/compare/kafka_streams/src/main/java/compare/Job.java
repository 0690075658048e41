package compare;

/** What the comparer tells each program, in environment variables. */
final class Job {
  static final String BROKERS = System.getenv("COMPARE_BROKERS");
  static final String SOURCE = System.getenv("COMPARE_SOURCE");
  static final String TARGET = System.getenv("COMPARE_TARGET");
  static final String APP = System.getenv("COMPARE_APP");
  static final String COMMIT_MS = System.getenv("COMPARE_COMMIT_MS");
  static final String MODEL = System.getenv("COMPARE_MODEL");
  static final String FEATURES = System.getenv("COMPARE_FEATURES");
  static final String SCRATCH = System.getenv("COMPARE_SCRATCH");
  /** Whether latency counts rather than throughput. */
  static final boolean QUICK = !System.getenv("COMPARE_QUICK").isEmpty();
  /** The model's version, which every prediction names. */
  static final String VERSION = "1";

  private Job() {}
}

/** All of these experiments, with their full counts. */
import '../server/metrics/prometheus.test.ts'

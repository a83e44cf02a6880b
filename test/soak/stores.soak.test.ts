/** All of these experiments, with their full counts. */
import '../server/stores/sqlite-kill.test.ts'
import '../server/runs/paged-memory.test.ts'

/** A million rows, in a process of their own: its heap is measured. */
import '../server/workflows/large-data-sets.test.ts'

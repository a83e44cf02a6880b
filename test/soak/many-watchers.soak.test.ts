/** The same with all thousand. */
import '../e2e/many-watchers.test.ts'

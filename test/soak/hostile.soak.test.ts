/** All of these experiments, with their full counts. */
import '../hostile/http.test.ts'
import '../hostile/secrets.test.ts'

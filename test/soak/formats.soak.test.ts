/** Runs in the events of other protocols, with their full counts. */
import '../formats/ag-ui-events.test.ts'
import '../formats/ai-sdk-chunks.test.ts'
import '../formats/openai.test.ts'

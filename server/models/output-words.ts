/** What a model that is not sent the JSON Schema of its answer is told of it. */
export function outputWords(schema: unknown): string {
  return `Give your final answer as one JSON object and nothing else. It must fit this JSON Schema:\n${JSON.stringify(schema)}`
}

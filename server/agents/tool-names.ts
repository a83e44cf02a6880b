/** Tool names that every provider accepts. */
const TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/

/** What is wrong with the names of these tools, if anything. */
export function misnamedTool(tools: object): string | undefined {
  const misnamed = Object.keys(tools).find((name) => !TOOL_NAME.test(name))
  return misnamed === undefined ? undefined : `invalid tool name ${misnamed}: use 1 to 64 of a-z A-Z 0-9 _ -`
}

// Constants of a module, for the reason given in tag.ts.

export const laneStart = 1
export const laneEnd = 2
export const toolCall = 3
export const toolResult = 4
export const toolProgress = 5
export const iterationStart = 6
export const iterationEnd = 7
export const inputRequest = 8
export const usage = 9
export const step = 10
export const agentStart = 11
export const agentEnd = 12
export const retry = 13
export const progress = 14
export const data = 15
export const warning = 16
export const notice = 17

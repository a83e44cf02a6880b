// 0x00-0x5f are critical: an unknown one is a fault. A receiver skips an unknown one of 0x60-0x7f.
// These are constants of a module, not keys of an object, so that a client's bundle has only the numbers it uses.

export const hello = 0x01
export const start = 0x02
export const attach = 0x03
export const credit = 0x04
export const cancel = 0x05
export const input = 0x06
export const detach = 0x07
export const rate = 0x08
export const list = 0x09
export const ping = 0x10
export const pong = 0x11
export const welcome = 0x20
export const opened = 0x21
export const inputAck = 0x22
export const notice = 0x23
export const goaway = 0x24
export const delta = 0x40
export const event = 0x41
export const gap = 0x42
export const end = 0x43
export const listed = 0x45

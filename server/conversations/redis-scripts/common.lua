-- Begins every script about conversations. KEYS: those of one conversation, which are its record, its messages, the
-- versions with which they changed, and the names of its last changes; then of its owner the list of conversations, and
-- when each of them expires, for those that do. A script about an owner takes only the last two.
local RECORD, MESSAGES, VERSIONS, CHANGES, LIST, DUES = unpack(#KEYS == 6 and KEYS or { '', '', '', '', KEYS[1], KEYS[2] })

-- How long the names of changes are kept, in milliseconds: longer than a command is repeated. And how many of them.
local CHANGES_MS, MOST_CHANGES = 60000, 32

-- Whether the change of this name was made already: its answer was lost, and it is repeated.
local function isRepeated(name)
  return redis.call('LPOS', CHANGES, name) ~= false
end

local function note(name)
  redis.call('LPUSH', CHANGES, name)
  redis.call('LTRIM', CHANGES, 0, MOST_CHANGES - 1)
  redis.call('PEXPIRE', CHANGES, CHANGES_MS)
end

-- Conversations that have expired leave the list. Redis keeps a key up to its last millisecond, and through it.
local function prune()
  for _, member in ipairs(redis.call('ZRANGE', DUES, '-inf', '(' .. int(now()), 'BYSCORE')) do
    redis.call('ZREM', LIST, member)
    redis.call('ZREM', DUES, member)
  end
end

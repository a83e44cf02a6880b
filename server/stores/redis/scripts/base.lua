-- Begins every script, of this room and of others. All times are those of this Redis.

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A number as text. Lua itself would write a large one with an exponent.
local function int(number)
  return string.format('%.0f', number)
end

-- How long the outbox is kept when nobody touches it.
local OUTBOX_MS = 604800000

-- The keys of an outbox: its notices by when they are due and by when they came, their bodies, and their attempts.
local function outboxOf(key)
  return key, key .. ':at', key .. ':body', key .. ':tries'
end

-- Adds a notice, which is due at once, unless it is there.
local function addNotice(key, id, body)
  local due, at, bodies, tries = outboxOf(key)
  if redis.call('ZADD', due, 'NX', int(now()), id) == 0 then return end
  redis.call('ZADD', at, int(now()), id)
  redis.call('HSET', bodies, id, body)
  redis.call('HSET', tries, id, '0')
  for _, each in ipairs({ due, at, bodies, tries }) do redis.call('PEXPIRE', each, OUTBOX_MS) end
end

local function removeNotice(key, id)
  local due, at, bodies, tries = outboxOf(key)
  redis.call('ZREM', due, id)
  redis.call('ZREM', at, id)
  redis.call('HDEL', bodies, id)
  redis.call('HDEL', tries, id)
end

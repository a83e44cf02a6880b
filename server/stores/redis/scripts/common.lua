-- Begins every script of one run. KEYS: its meta, log, inputs, asks, answers and readers; then the live runs of this
-- Redis and the list of the run's principal.
local META, LOG, INPUTS, ASKS, ANSWERS, READERS, LIVE, LIST = unpack(KEYS)

-- No key lives for ever.
local function atLeast(key, ms)
  if redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
end

local function expireRun(ms)
  for index = 1, 6 do redis.call('PEXPIRE', KEYS[index], ms) end
end

-- A run that only waits for people waits in its pool when nobody holds it. It is a live one, and not looked at as an
-- abandoned one before it may have expired.
local function toPool(pool, waiting, id, at, liveMs)
  redis.call('ZADD', LIVE, int(at + tonumber(liveMs)), id)
  atLeast(LIVE, liveMs)
  local isNew = redis.call('ZADD', waiting, 'NX', int(at), id) == 1
  atLeast(waiting, liveMs)
  if isNew then redis.call('PUBLISH', waiting, id) end
end

-- A key that a run has only now goes when the run does.
local function withRun(key)
  if redis.call('PTTL', key) == -1 then redis.call('PEXPIRE', key, redis.call('PTTL', META)) end
end

-- Begins every script, of this room and of others. All times are those of this Redis.

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A number as text. Lua itself would write a large one with an exponent.
local function int(number)
  return string.format('%.0f', number)
end

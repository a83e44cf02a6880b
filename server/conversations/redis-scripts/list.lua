-- ARGV: what comes before an id in the key of a record; how many; then the place behind which the list begins: updatedAt
-- and a member, both '' for the beginning
-- Gives of each conversation its member, version, title, createdAt, updatedAt and data.
local before, most, from, place = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

-- By their bytes: Lua compares texts as the language of the machine orders them.
local function isBelow(one, other)
  for index = 1, math.min(#one, #other) do
    local a, b = one:byte(index), other:byte(index)
    if a ~= b then return a < b end
  end
  return #one < #other
end

-- A member is the id, but for the bytes that make members sort as ids do.
local function idOf(member)
  return (member:gsub('[\254\255]', function(byte) return string.char(byte:byte() - 16) end))
end

prune()
local found, offset = {}, 0
while #found < most do
  local page = redis.call('ZRANGE', LIST, from == '' and '+inf' or from, '-inf', 'BYSCORE', 'REV', 'LIMIT', offset, most,
    'WITHSCORES')
  if #page == 0 then break end
  for index = 1, #page, 2 do
    local member, time = page[index], page[index + 1]
    local isBehind = from == '' or tonumber(time) < tonumber(from) or isBelow(member, place)
    if isBehind and #found < most then
      local record = redis.call('HMGET', before .. idOf(member), 'v', 't', 'c', 'u', 'd')
      if record[1] then found[#found + 1] = { idOf(member), unpack(record) } end
    end
  end
  offset = offset + #page / 2
end
return found

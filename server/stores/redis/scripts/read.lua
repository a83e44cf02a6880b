-- ARGV: from, maxBytes, most batches
-- Gives whether there are more, and the batches from the one that has that item.
local batches, bytes, from = {}, 0, ARGV[1] .. '-0'
while true do
  local some = redis.call('XRANGE', LOG, from, '+', 'COUNT', 16)
  for _, entry in ipairs(some) do
    local batch = entry[2][2]
    bytes = bytes + #batch
    if #batches > 0 and (bytes > tonumber(ARGV[2]) or #batches >= tonumber(ARGV[3])) then return { 1, batches } end
    batches[#batches + 1] = batch
    from = '(' .. entry[1]
  end
  if #some < 16 then return { 0, batches } end
end

-- Ends a script that is done for several runs, one after the other. KEYS: those of each in turn. ARGV: for each in turn,
-- how many arguments it has, and what they are.
-- Gives what each of them gives. A run has the eight keys that `common.lua` names.
local replies, at = {}, 1
for run = 1, #KEYS / 8 do
  local keys, args, count = {}, {}, tonumber(ARGV[at])
  for index = 1, 8 do keys[index] = KEYS[8 * run - 8 + index] end
  for index = 1, count do args[index] = ARGV[at + index] end
  at = at + count + 1
  replies[run] = one(keys, args)
end
return replies

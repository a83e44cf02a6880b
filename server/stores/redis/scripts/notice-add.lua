-- KEYS: the outbox. ARGV: id and body of each notice in turn
for index = 1, #ARGV, 2 do addNotice(KEYS[1], ARGV[index], ARGV[index + 1]) end
return 1

-- KEYS: the outbox. ARGV: id
removeNotice(KEYS[1], ARGV[1])
return 1

-- Deletes the list that another store left, if it is still the one that was folded. KEYS: legacy list. ARGV: the list.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end

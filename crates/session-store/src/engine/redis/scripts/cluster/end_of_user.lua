
-- KEYS: record. ARGV: id, user, life of a tombstone in ms.
return end_of_user(KEYS[1], ARGV[1], ARGV[2], ARGV[3])

-- Deletes a legacy list, if it is still the one that was folded.
--
-- KEYS[1]  legacy list
--
-- ARGV[1]  the list as it was read

if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end

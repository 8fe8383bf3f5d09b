
-- KEYS: key. ARGV: number, life in ms ('' = for ever).
return raise(KEYS[1], ARGV[1], tonumber(ARGV[2]))

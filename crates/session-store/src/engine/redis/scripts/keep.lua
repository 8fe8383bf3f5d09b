-- Lets a user's index outlive an entry that lives for `ttl` by the margin; never shortens its life.
local function keep_index(index, ttl)
  ttl = ttl + INDEX_MARGIN_MS
  if redis.call('PTTL', index) < ttl then redis.call('PEXPIRE', index, digits(ttl)) end
end

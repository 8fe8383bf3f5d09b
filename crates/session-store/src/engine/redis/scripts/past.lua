-- Entries of an index whose time is past by the margin, the first of them: no more than fits into one part.
local function past_entries(index, now)
  return redis.call('ZRANGEBYSCORE', index, '-inf', '(' .. digits(now - INDEX_MARGIN_MS), 'LIMIT', 0, TOGETHER)
end

-- Drops them; answers how many.
local function drop_past(index, now)
  local past = past_entries(index, now)
  if #past > 0 then redis.call('ZREM', index, unpack(past)) end
  return #past
end

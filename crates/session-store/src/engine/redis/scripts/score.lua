-- The score of an index entry whose record lives for `ttl` ms: the record's own expiry (`expires`, '' = none) where the clocks agree.
local function score_of(now, ttl, expires)
  local by_server = now + ttl
  if expires ~= '' and math.abs(by_server - expires) <= SAME_CLOCK_MS then return expires end
  return digits(by_server)
end

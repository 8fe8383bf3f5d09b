--- @include "digits"

-- The score of an index entry whose record lives for `ttl` ms: the record's own expiry in ms since
-- the epoch (`expires_at`, '': none) where the clocks agree, else the expiry by the server's clock.
local function score_of(now, ttl, expires_at)
  local by_server = now + ttl
  if expires_at ~= '' and math.abs(by_server - expires_at) <= SAME_CLOCK_MS then return expires_at end
  return digits(by_server)
end

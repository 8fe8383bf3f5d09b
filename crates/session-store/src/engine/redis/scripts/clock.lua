-- The server's clock.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers in a text must not become 1e+15. (redis.call writes its number arguments out in full by itself.)
local function digits(number)
  return string.format('%.0f', number)
end

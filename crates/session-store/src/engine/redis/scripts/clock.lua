-- The server's clock, and numbers as texts.

-- A number as Redis takes it. (Given a number, redis.call writes it as a floating-point one, which takes four times as long.)
local function digits(number)
  return string.format('%d', number)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Calls `act` for each of `count` callers by its number. Returns what each came to. A failure is
-- that of one caller only: { 'ERROR', the server's words, without what Redis 6 puts before them }.
local function each(count, act)
  local answers = {}
  for n = 1, count do
    local ok, answer = pcall(act, n)
    if not ok then
      local words = type(answer) == 'table' and answer.err or tostring(answer)
      answer = { 'ERROR', (string.gsub(words, '^@?user_script: ?%d+: %-?', '')) }
    end
    answers[n] = answer
  end
  return answers
end


-- Answers what a write would come to.
return { current and 'REPLACED' or 'CREATED' }

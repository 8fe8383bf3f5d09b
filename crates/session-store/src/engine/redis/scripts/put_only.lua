
return { 'CREATED' }

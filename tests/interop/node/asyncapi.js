// Holds a document to the AsyncAPI specification; says what is wrong with it.
'use strict';

const fs = require('fs');
const { Parser } = require('@asyncapi/parser');

async function main() {
    const { diagnostics } = await new Parser().parse(fs.readFileSync(process.argv[2], 'utf8'));
    // Severity 0 is an error.
    const errors = diagnostics.filter((one) => one.severity === 0);
    errors.slice(0, 5).forEach((one) => console.log(`${one.path.join('.')}: ${one.message}`));
    process.exit(errors.length ? 1 : 0);
}

main();

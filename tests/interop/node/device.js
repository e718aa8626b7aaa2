// An LwM2M device over lwm2m-node-lib: registers, updates at "update", leaves at the end of its input.
'use strict';

const readline = require('readline');
const lwm2m = require('lwm2m-node-lib').client;

const [host, port, name] = process.argv.slice(2);
const config = {
    client: {
        lifetime: '300',
        version: '1.0',
        logLevel: 'FATAL',
        observe: { period: 3000 },
        ipProtocol: 'udp4',
        serverProtocol: 'udp4',
        formats: [{ name: 'lightweightm2m/text', value: 1541 }],
        writeFormat: 'lightweightm2m/text',
    },
};

function say(what) {
    process.stdout.write(what + '\n');
}

function done(what, then) {
    return (error, result) => {
        say(error ? `failed: ${what} ${error.name}: ${error.message}` : what);
        if (!error && then) {
            then(result);
        }
    };
}

function resource(uri, id, value) {
    return new Promise((resolve, reject) => {
        lwm2m.registry.setResource(uri, id, value, (error) => (error ? reject(error) : resolve()));
    });
}

function object(uri) {
    return new Promise((resolve, reject) => {
        lwm2m.registry.create(uri, (error) => (error ? reject(error) : resolve()));
    });
}

async function main() {
    lwm2m.init(config);
    await object('/3/0');
    await resource('/3/0', '0', 'Telefonica');
    await resource('/3/0', '9', '95');
    let device;
    lwm2m.register(host, port, null, name, done('registered', (information) => { device = information; }));
    const input = readline.createInterface({ input: process.stdin });
    input.on('line', (line) => {
        if (line === 'update') {
            lwm2m.update(device, done('updated', (information) => { device = information || device; }));
        }
    });
    input.on('close', () => lwm2m.unregister(device, done('deregistered', () => process.exit(0))));
}

main().catch((error) => {
    say(`failed: ${error.message}`);
    process.exit(1);
});

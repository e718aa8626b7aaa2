import java.net.InetAddress;
import java.util.HexFormat;
import java.util.Scanner;

import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.leshan.client.LeshanClient;
import org.eclipse.leshan.client.LeshanClientBuilder;
import org.eclipse.leshan.client.californium.endpoint.CaliforniumClientEndpointsProvider;
import org.eclipse.leshan.client.californium.endpoint.coap.CoapClientProtocolProvider;
import org.eclipse.leshan.client.californium.endpoint.coaps.CoapsClientProtocolProvider;
import org.eclipse.leshan.client.engine.DefaultRegistrationEngineFactory;
import org.eclipse.leshan.client.object.Security;
import org.eclipse.leshan.client.object.Server;
import org.eclipse.leshan.client.observer.LwM2mClientObserverAdapter;
import org.eclipse.leshan.client.resource.ObjectsInitializer;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.core.LwM2mId;
import org.eclipse.leshan.core.ResponseCode;
import org.eclipse.leshan.core.request.DeregisterRequest;
import org.eclipse.leshan.core.request.RegisterRequest;
import org.eclipse.leshan.core.request.UpdateRequest;

/** An LwM2M device over Leshan's client library: registers, updates at "update", leaves at the end of its input. */
public final class Device {
    private static final long LIFETIME_S = 300;

    private Device() {}

    /**
     * Arguments: URI of the server, endpoint name, pre-shared key in hexadecimal or "-", bytes of its CID or "-", and "queue"
     * for queue mode. Leshan only says so: it never sleeps.
     */
    public static void main(String[] args) throws Exception {
        boolean queues = args.length > 4 && args[4].equals("queue");
        LeshanClient client = client(args[0], args[1], args[2], args[3], queues);
        client.addObserver(new Teller());
        client.start();
        try (Scanner input = new Scanner(System.in)) {
            while (input.hasNextLine()) {
                if (input.nextLine().equals("update")) {
                    client.triggerRegistrationUpdate();
                }
            }
        }
        client.destroy(true);
    }

    private static LeshanClient client(String uri, String name, String key, String cid, boolean queues)
            throws Exception {
        ObjectsInitializer objects = new ObjectsInitializer();
        boolean secured = !key.equals("-");
        objects.setInstancesForObject(
                LwM2mId.SECURITY,
                secured ? Security.psk(uri, 1, name.getBytes(), HexFormat.of().parseHex(key)) : Security.noSec(uri, 1));
        objects.setInstancesForObject(LwM2mId.SERVER, new Server(1, LIFETIME_S));
        objects.setInstancesForObject(
                LwM2mId.DEVICE, new org.eclipse.leshan.client.object.Device("Eclipse", "Leshan", "4711"));
        CaliforniumClientEndpointsProvider.Builder endpoints =
                new CaliforniumClientEndpointsProvider.Builder(
                        secured ? new CoapsClientProtocolProvider() : new CoapClientProtocolProvider());
        Configuration configuration = endpoints.createDefaultConfiguration();
        if (secured) {
            configuration.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, cid.equals("-") ? null : Integer.valueOf(cid));
        }
        endpoints.setConfiguration(configuration);
        endpoints.setClientAddress(InetAddress.getLoopbackAddress());
        LeshanClientBuilder builder = new LeshanClientBuilder(name);
        builder.setObjects(objects.createAll());
        builder.setEndpointsProviders(endpoints.build());
        builder.setRegistrationEngineFactory(new DefaultRegistrationEngineFactory().setQueueMode(queues));
        return builder.build();
    }

    /** Says on standard output what came of each step. */
    private static final class Teller extends LwM2mClientObserverAdapter {
        private static void say(String what) {
            System.out.println(what);
            System.out.flush();
        }

        @Override
        public void onRegistrationSuccess(LwM2mServer server, RegisterRequest request, String registration) {
            say("registered " + registration);
        }

        @Override
        public void onRegistrationFailure(
                LwM2mServer server, RegisterRequest request, ResponseCode code, String text, Exception cause) {
            say("failed: register " + code + " " + text + " " + cause);
        }

        @Override
        public void onRegistrationTimeout(LwM2mServer server, RegisterRequest request) {
            say("failed: register timed out");
        }

        @Override
        public void onUpdateSuccess(LwM2mServer server, UpdateRequest request) {
            say("updated " + request.getRegistrationId());
        }

        @Override
        public void onUpdateFailure(
                LwM2mServer server, UpdateRequest request, ResponseCode code, String text, Exception cause) {
            say("failed: update " + code + " " + text + " " + cause);
        }

        @Override
        public void onUpdateTimeout(LwM2mServer server, UpdateRequest request) {
            say("failed: update timed out");
        }

        @Override
        public void onDeregistrationSuccess(LwM2mServer server, DeregisterRequest request) {
            say("deregistered");
        }

        @Override
        public void onDeregistrationFailure(
                LwM2mServer server, DeregisterRequest request, ResponseCode code, String text, Exception cause) {
            say("failed: deregister " + code + " " + text + " " + cause);
        }
    }
}

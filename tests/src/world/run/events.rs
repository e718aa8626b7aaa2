//! What befalls a world, carried out; and what it may send at the most.

use std::net::SocketAddr;
use std::time::Duration;

use super::World;
use super::operators::Operators;
use crate::world::network::Scope;
use crate::world::plan::{self, Happening, Who};
use crate::world::trace;

impl World<'_> {
    /// Lets one thing happen.
    pub(super) async fn happen(&mut self, happening: Happening, operators: &Operators) {
        if let Happening::Restore(dark) = happening {
            return self.restore(dark, operators).await;
        }
        let device = |number: usize| &self.people.subjects[number].device;
        match happening {
            Happening::Outage(who, long) => self.cut_off(who, long),
            Happening::Rebind(number) => self.rebind(number),
            Happening::PowerCut(number) => device(number).cut_power(),
            Happening::PowerCutAfter(number, steps) => device(number).chip.cut_after(steps),
            Happening::ServerCrash(crash, dark) => self.keeper.crash_server(crash, dark),
            Happening::GatewayCrash(number, dark) => self.keeper.crash_gateway(number, dark),
            Happening::ServerClock(by) => self.server.wall().step(by),
            Happening::GatewayRebind(number) => self.rebind_gateway(number),
            Happening::GatewayClock(number, by) => self.people.gateways[number].wall().step(by),
            Happening::Backup => self.server.back_up(),
            Happening::Restore(_) => {}
            Happening::Operator(act) => operators.order(act),
        }
    }

    /// The server's disk is lost: its backup is put in its place, and whoever ordered something since does so again.
    async fn restore(&mut self, dark: Duration, operators: &Operators) {
        let Self { keeper, server, watch, tenant, people, .. } = self;
        let put_back = || {
            let mut is_old = true;
            server.put_back(async |store| {
                if is_old {
                    watch.look(store, tenant, &people.names).await;
                    operators.hold_against(store, tenant, &mut watch.broken).await;
                    watch.put_back();
                } else {
                    operators.restored(store, tenant).await;
                }
                is_old = false;
            });
        };
        keeper.while_down(dark, put_back).await;
        self.restores += 1;
    }

    /// Cuts all links of someone. Sockets come and go, so it is by address of the machine.
    fn cut_off(&self, who: Who, long: Duration) {
        let scope = match who {
            Who::Everyone => Scope::All,
            Who::Server => Scope::Machine(plan::server_ip()),
            Who::Gateway(number) => Scope::Machine(plan::gateway_ip(number)),
            Who::Device(number) => Scope::Machine(plan::device_ip(number)),
        };
        let now = trace::now();
        self.network.plan_outage(scope, now, now + long);
    }

    fn rebind(&mut self, number: usize) {
        for local in self.people.subjects[number].device.addresses() {
            self.lend_address(local);
        }
    }

    /// Only where it goes out: devices know the address that it listens at.
    fn rebind_gateway(&mut self, number: usize) {
        let listens = self.people.gateways[number].address();
        let locals = self.network.bound_to(listens.ip());
        for local in locals.into_iter().filter(|local| *local != listens) {
            self.lend_address(local);
        }
    }

    fn lend_address(&mut self, local: SocketAddr) {
        self.rebound += 1;
        self.network.rebind(local, (plan::translator_ip(self.rebound), TRANSLATED_PORT).into());
    }
}

const TRANSLATED_PORT: u16 = 1_024;

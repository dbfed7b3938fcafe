//! Second step: what the facts amount to. Host first, then workload: no workload of a host that is not in sight is judged
//! on its own. Many hosts silent at once means that the controller is cut off, and then nothing is done at all.

mod host;
mod workload;

use crate::engine::Engine;

impl Engine {
    pub(crate) fn believe(&mut self) {
        // After most signs of life there is nothing to look at.
        if !self.agenda.is_empty() || !self.belief.silent.is_empty() || self.belief.cut_off {
            self.believe_what_is_touched();
        }
        self.judge_memory();
    }

    fn believe_what_is_touched(&mut self) {
        let hosts = self.agenda.hosts();
        for host in &hosts {
            self.see_host(host);
        }
        self.judge_cut_off();
        for host in &hosts {
            self.believe_host(host);
        }
        for workload in self.agenda.workloads() {
            self.believe_workload(&workload);
        }
    }
}

"""Later reports of a case, and reviews that confirm, override or annotate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the change."""
    op.create_table('revisions',
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('because', sa.Text(), nullable=False),
    sa.Column('label', sa.Text(), nullable=False),
    sa.Column('p_generated', sa.Float(precision=53), nullable=False),
    sa.Column('p_edited', sa.Float(precision=53), nullable=True),
    sa.Column('schema_version', sa.Text(), nullable=False),
    sa.Column('report', sa.Text(), nullable=False),
    sa.Column('report_sha256', sa.Text(), nullable=False),
    sa.CheckConstraint('number > 1', name=op.f('ck_revisions_number')),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_revisions_case_id_cases')),
    sa.PrimaryKeyConstraint('case_id', 'number', name=op.f('pk_revisions'))
    )
    op.add_column('cases', sa.Column('review_asked', sa.Text(), nullable=True))
    with op.batch_alter_table('reviews') as batch:
        batch.add_column(sa.Column('kind', sa.Text(), nullable=True))
        batch.add_column(sa.Column('revision', sa.Integer(), nullable=True))
        batch.alter_column('label', existing_type=sa.Text(), nullable=True)
        batch.create_check_constraint(op.f('ck_reviews_kind'), "kind IN ('confirm', 'override', 'annotate')")

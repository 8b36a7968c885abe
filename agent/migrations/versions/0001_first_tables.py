"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the change."""
    op.create_table('audit',
    sa.Column('seq', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('at', sa.Text(), nullable=False),
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('payload', sa.Text(), nullable=False),
    sa.Column('previous', sa.Text(), nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_audit'))
    )
    op.create_index(op.f('ix_audit_case_id'), 'audit', ['case_id'], unique=False)
    head = op.create_table('audit_head',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.CheckConstraint('id = 1', name=op.f('ck_audit_head_single')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_head'))
    )
    op.bulk_insert(head, [{'id': 1, 'seq': 0, 'hash': '0' * 64}])
    op.create_table('images',
    sa.Column('sha256', sa.Text(), nullable=False),
    sa.Column('bytes', sa.BigInteger(), nullable=False),
    sa.Column('width', sa.Integer(), nullable=True),
    sa.Column('height', sa.Integer(), nullable=True),
    sa.Column('format', sa.Text(), nullable=True),
    sa.Column('mode', sa.Text(), nullable=True),
    sa.Column('frame', sa.Integer(), nullable=True),
    sa.Column('frames', sa.Integer(), nullable=True),
    sa.Column('first_seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('sha256', name=op.f('pk_images'))
    )
    op.create_table('cases',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('budget', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('origin', sa.Text(), nullable=False),
    sa.Column('image_sha256', sa.Text(), nullable=False),
    sa.Column('error_code', sa.Text(), nullable=True),
    sa.Column('error_message', sa.Text(), nullable=True),
    sa.Column('label', sa.Text(), nullable=True),
    sa.Column('p_generated', sa.Float(precision=53), nullable=True),
    sa.Column('p_edited', sa.Float(precision=53), nullable=True),
    sa.Column('schema_version', sa.Text(), nullable=True),
    sa.Column('report', sa.Text(), nullable=True),
    sa.Column('report_sha256', sa.Text(), nullable=True),
    sa.CheckConstraint("(status = 'done') = (report IS NOT NULL)", name=op.f('ck_cases_report_when_done')),
    sa.CheckConstraint("status IN ('running', 'done', 'failed')", name=op.f('ck_cases_status')),
    sa.ForeignKeyConstraint(['image_sha256'], ['images.sha256'], name=op.f('fk_cases_image_sha256_images')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_cases'))
    )
    op.create_index(op.f('ix_cases_created_at'), 'cases', ['created_at'], unique=False)
    op.create_index(op.f('ix_cases_image_sha256'), 'cases', ['image_sha256'], unique=False)
    op.create_index(op.f('ix_cases_label_created_at'), 'cases', ['label', 'created_at'], unique=False)
    op.create_index(op.f('ix_cases_status'), 'cases', ['status'], unique=False)
    op.create_table('artifacts',
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('evidence_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('severity', sa.Text(), nullable=False),
    sa.Column('x0', sa.Float(precision=53), nullable=False),
    sa.Column('y0', sa.Float(precision=53), nullable=False),
    sa.Column('x1', sa.Float(precision=53), nullable=False),
    sa.Column('y1', sa.Float(precision=53), nullable=False),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_artifacts_case_id_cases')),
    sa.PrimaryKeyConstraint('case_id', 'position', name=op.f('pk_artifacts'))
    )
    op.create_table('component_versions',
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('component', sa.Text(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_component_versions_case_id_cases')),
    sa.PrimaryKeyConstraint('case_id', 'component', name=op.f('pk_component_versions'))
    )
    op.create_index(op.f('ix_component_versions_component_version'), 'component_versions', ['component', 'version'], unique=False)
    op.create_table('contributions',
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('evidence_id', sa.Text(), nullable=False),
    sa.Column('target', sa.Text(), nullable=False),
    sa.Column('llr', sa.Float(precision=53), nullable=False),
    sa.Column('decibans', sa.Float(precision=53), nullable=False),
    sa.Column('bucket', sa.Text(), nullable=False),
    sa.Column('because', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_contributions_case_id_cases')),
    sa.PrimaryKeyConstraint('case_id', 'position', name=op.f('pk_contributions'))
    )
    op.create_table('evidence',
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('evidence_id', sa.Text(), nullable=False),
    sa.Column('detector', sa.Text(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('target', sa.Text(), nullable=False),
    sa.Column('score', sa.Float(precision=53), nullable=True),
    sa.Column('abstained_because', sa.Text(), nullable=True),
    sa.Column('applicability', sa.Float(precision=53), nullable=False),
    sa.Column('blind', sa.Boolean(), nullable=False),
    sa.Column('findings', sa.JSON(), nullable=False),
    sa.Column('measurements', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('ms', sa.Float(precision=53), nullable=False),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_evidence_case_id_cases')),
    sa.PrimaryKeyConstraint('case_id', 'position', name=op.f('pk_evidence'))
    )
    op.create_index(op.f('ix_evidence_detector'), 'evidence', ['detector'], unique=False)
    op.create_table('explanations',
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('model', sa.Text(), nullable=True),
    sa.Column('adapter', sa.Text(), nullable=True),
    sa.Column('revision', sa.Text(), nullable=True),
    sa.Column('prompt_version', sa.Text(), nullable=True),
    sa.Column('note', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_explanations_case_id_cases')),
    sa.PrimaryKeyConstraint('case_id', name=op.f('pk_explanations'))
    )
    op.create_table('maps',
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('evidence_id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('sha256', sa.Text(), nullable=False),
    sa.Column('caption', sa.Text(), nullable=False),
    sa.Column('width', sa.Integer(), nullable=False),
    sa.Column('height', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_maps_case_id_cases')),
    sa.PrimaryKeyConstraint('case_id', 'position', name=op.f('pk_maps'))
    )
    op.create_index(op.f('ix_maps_sha256'), 'maps', ['sha256'], unique=False)
    op.create_table('messages',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('role', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('cites', sa.JSON(), nullable=False),
    sa.Column('writer', sa.JSON(none_as_null=True), nullable=True),
    sa.CheckConstraint("role IN ('user', 'assistant')", name=op.f('ck_messages_role')),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_messages_case_id_cases')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_messages'))
    )
    op.create_index(op.f('ix_messages_case_id'), 'messages', ['case_id'], unique=False)
    op.create_table('reviews',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('reviewer', sa.Text(), nullable=False),
    sa.Column('label', sa.Text(), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_reviews_case_id_cases')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reviews'))
    )
    op.create_index(op.f('ix_reviews_case_id'), 'reviews', ['case_id'], unique=False)
    op.create_table('sentences',
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('role', sa.Text(), nullable=True),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('cites', sa.JSON(), nullable=False),
    sa.Column('dropped_because', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_sentences_case_id_cases')),
    sa.PrimaryKeyConstraint('case_id', 'position', name=op.f('pk_sentences'))
    )
    op.create_table('verdicts',
    sa.Column('case_id', sa.Text(), nullable=False),
    sa.Column('label', sa.Text(), nullable=False),
    sa.Column('p_generated', sa.Float(precision=53), nullable=False),
    sa.Column('p_edited', sa.Float(precision=53), nullable=True),
    sa.Column('prior', sa.Float(precision=53), nullable=False),
    sa.Column('low', sa.Float(precision=53), nullable=False),
    sa.Column('high', sa.Float(precision=53), nullable=False),
    sa.Column('low_edited', sa.Float(precision=53), nullable=True),
    sa.Column('high_edited', sa.Float(precision=53), nullable=True),
    sa.Column('confidence', sa.Text(), nullable=False),
    sa.Column('decided_by', sa.Text(), nullable=False),
    sa.Column('abstained_because', sa.Text(), nullable=True),
    sa.Column('calibration', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['case_id'], ['cases.id'], name=op.f('fk_verdicts_case_id_cases')),
    sa.PrimaryKeyConstraint('case_id', name=op.f('pk_verdicts'))
    )


def downgrade() -> None:
    """Takes it back."""
    op.drop_table('verdicts')
    op.drop_table('sentences')
    op.drop_index(op.f('ix_reviews_case_id'), table_name='reviews')
    op.drop_table('reviews')
    op.drop_index(op.f('ix_messages_case_id'), table_name='messages')
    op.drop_table('messages')
    op.drop_index(op.f('ix_maps_sha256'), table_name='maps')
    op.drop_table('maps')
    op.drop_table('explanations')
    op.drop_index(op.f('ix_evidence_detector'), table_name='evidence')
    op.drop_table('evidence')
    op.drop_table('contributions')
    op.drop_index(op.f('ix_component_versions_component_version'), table_name='component_versions')
    op.drop_table('component_versions')
    op.drop_table('artifacts')
    op.drop_index(op.f('ix_cases_status'), table_name='cases')
    op.drop_index(op.f('ix_cases_label_created_at'), table_name='cases')
    op.drop_index(op.f('ix_cases_image_sha256'), table_name='cases')
    op.drop_index(op.f('ix_cases_created_at'), table_name='cases')
    op.drop_table('cases')
    op.drop_table('images')
    op.drop_table('audit_head')
    op.drop_index(op.f('ix_audit_case_id'), table_name='audit')
    op.drop_table('audit')
